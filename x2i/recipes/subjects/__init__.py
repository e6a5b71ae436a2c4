"""The subjects family: pictures of things in, another picture that shows the same things out."""
