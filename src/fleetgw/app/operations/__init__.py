"""Answers to operators' questions about a running gateway, as JSON values, and the paths that lead to them."""
