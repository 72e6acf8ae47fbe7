module craft-client

go 1.24

require (
	github.com/bufbuild/protocompile v0.14.1
	github.com/nats-io/nats.go v1.46.1
	google.golang.org/protobuf v1.36.6
)

require (
	github.com/klauspost/compress v1.18.0 // indirect
	github.com/nats-io/nkeys v0.4.11 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.37.0 // indirect
	golang.org/x/sync v0.8.0 // indirect
	golang.org/x/sys v0.32.0 // indirect
)
