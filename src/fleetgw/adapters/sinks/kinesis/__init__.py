"""Amazon Kinesis Data Streams: PutRecords."""
