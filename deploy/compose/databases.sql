-- POSTGRES_DB makes the first one.
CREATE DATABASE craft_s2;
CREATE DATABASE craft_s3;
