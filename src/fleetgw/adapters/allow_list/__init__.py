"""The sources of the allow list: a file, an HTTP endpoint, a Redis set; and the life that reads one again and again."""
