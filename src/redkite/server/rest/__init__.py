"""REST v2: JSON over HTTP/1.1, translated to and from the waist."""
