// Talks to a cluster of craft over plain NATS. ../README.md has the commands that run it.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const (
	attemptsMax    = 10
	attemptTimeout = 3 * time.Second
	pause          = 200 * time.Millisecond
)

var (
	url     = cmp.Or(os.Getenv("CRAFT_NATS_URL"), nats.DefaultURL)
	cluster = cmp.Or(os.Getenv("CRAFT_CLUSTER"), "craft")
	server  = cmp.Or(os.Getenv("CRAFT_SERVER"), "s1")
	// The folder proto of craft.
	protos = cmp.Or(os.Getenv("CRAFT_PROTO"), "../../../../proto")
)

type reply struct {
	OK    bool `json:"ok"`
	Error struct {
		Retryable bool `json:"retryable"`
	} `json:"error"`
}

// ask sends a request until its outcome is known. A command with an id takes effect once, however often it is sent.
func ask(connection *nats.Conn, subject string, given any, headers map[string]string) (string, error) {
	input, err := json.Marshal(given)
	if err != nil {
		return "", err
	}
	message := &nats.Msg{Subject: cluster + "." + subject, Data: input, Header: nats.Header{}}
	for name, value := range headers {
		message.Header.Set(name, value)
	}
	for range attemptsMax {
		answer, err := connection.RequestMsg(message, attemptTimeout)
		if err == nil {
			var got reply
			if err := json.Unmarshal(answer.Data, &got); err != nil {
				return "", err
			}
			if got.OK || !got.Error.Retryable {
				return string(answer.Data), nil
			}
		} else if !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, nats.ErrTimeout) {
			return "", err
		}
		// No leader or no answer now.
		time.Sleep(pause)
	}
	return "", fmt.Errorf("%s: the outcome is unknown after %d attempts", subject, attemptsMax)
}

// schema has the messages of proto/craft/v1, read at the start. A larger program has code that protoc generates.
type schema map[protoreflect.Name]protoreflect.MessageDescriptor

func readSchema(ctx context.Context) (schema, error) {
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{ImportPaths: []string{protos}}}
	files, err := compiler.Compile(ctx, "craft/v1/log.proto", "craft/v1/entry.proto")
	if err != nil {
		return nil, err
	}
	found := schema{}
	for _, file := range files {
		for i := range file.Messages().Len() {
			found[file.Messages().Get(i).Name()] = file.Messages().Get(i)
		}
	}
	return found, nil
}

// decode reads a message into a struct with its fields, by way of protobuf's JSON: it has 64-bit numbers as strings.
func (s schema) decode(name protoreflect.Name, data []byte, target any) error {
	message := dynamicpb.NewMessage(s[name])
	if err := proto.Unmarshal(data, message); err != nil {
		return err
	}
	text, err := protojson.Marshal(message)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, target)
}

type entry struct {
	Index     uint64          `json:"index"`
	Group     uint64          `json:"group"`
	Timestamp uint64          `json:"timestamp"`
	Name      string          `json:"name"`
	ID        string          `json:"id"`
	Input     json.RawMessage `json:"input"`
}

// entries gives the entries of one message of the merged log, in its order.
func (s schema) entries(data []byte) ([]entry, error) {
	var batch struct {
		FirstMergedIndex uint64 `json:",string"`
		Groups           []uint64
		Entries          []byte
	}
	if err := s.decode("MergedBatch", data, &batch); err != nil {
		return nil, err
	}
	var block struct {
		Entries []struct {
			Timestamp uint64 `json:",string"`
			Body      []byte
		}
	}
	if err := s.decode("EntryBlock", batch.Entries, &block); err != nil {
		return nil, err
	}
	found := []entry{}
	for i, one := range block.Entries {
		var command struct {
			Name, ID string
			Payload  []byte
		}
		if err := s.decode("Command", one.Body, &command); err != nil {
			return nil, err
		}
		index, group := batch.FirstMergedIndex+uint64(i), batch.Groups[i]
		found = append(found, entry{index, group, one.Timestamp, command.Name, command.ID, command.Payload})
	}
	return found, nil
}

func run(ctx context.Context) error {
	messages, err := readSchema(ctx)
	if err != nil {
		return err
	}
	connection, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	// From now on. An ordered consumer asks again for what the connection lost.
	stream, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	from := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy}
	consumer, err := stream.OrderedConsumer(ctx, strings.ToUpper(cluster)+"_LOG_"+server, from)
	if err != nil {
		return err
	}
	following, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer following.Stop()

	key := "go-" + rand.Text()
	put := map[string]any{"key": key, "value": map[string]int{"n": 1}, "ifVersion": 0}
	for _, question := range []struct {
		subject string
		given   any
		headers map[string]string
	}{
		{"cmd.kv.put", put, map[string]string{"Nats-Msg-Id": key}},
		// The same id again: the same result, although the key is there now.
		{"cmd.kv.put", put, map[string]string{"Nats-Msg-Id": key}},
		// Another id is another command, which is refused.
		{"cmd.kv.put", put, map[string]string{"Nats-Msg-Id": key + "-2"}},
		// Any server answers, and sees every command that was acknowledged before.
		{"query.kv.get", map[string]string{"key": key}, map[string]string{"Craft-Consistency": "linearizable"}},
		{"query.craft.describe", struct{}{}, nil},
	} {
		answer, err := ask(connection, question.subject, question.given, question.headers)
		if err != nil {
			return err
		}
		fmt.Println(answer)
	}
	for {
		message, err := following.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		entries, err := messages.entries(message.Data())
		if err != nil {
			return err
		}
		for _, one := range entries {
			if one.ID == key {
				return json.NewEncoder(os.Stdout).Encode(one)
			}
		}
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
