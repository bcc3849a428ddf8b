"""Test support for authors of sinks and of programs that embed the gateway: contract tests, doubles, vehicles."""
