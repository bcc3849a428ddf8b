#!/bin/sh
# Fetches Apache Kafka's jars from Maven Central into .brokers/kafka, for the broker tests of Kafka. Needs Maven; running
# the broker needs Java 17. Does nothing when the jars of this pom.xml are there already.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
jars=$(cd "$here/../../.." && pwd)/.brokers/kafka

if cmp -s "$here/pom.xml" "$jars/pom.xml"; then
    echo "Apache Kafka is in $jars"
    exit 0
fi
command -v mvn >/dev/null || { echo "mvn not found: install Maven first (Debian: apt-get install maven)" >&2; exit 1; }

rm -rf "$jars"
mkdir -p "$jars"
mvn --batch-mode --quiet --file "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$jars"
cp "$here/pom.xml" "$jars/pom.xml" # last, so that an interrupted run is not taken for a finished one
echo "Apache Kafka is in $jars"
