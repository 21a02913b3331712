# Loaded by Schemathesis: the body of an import is JSON Lines, which it does not know; it is sent as generated.

import schemathesis


@schemathesis.serializer("application/jsonl")
def serialize_lines(context, value):
    return str(value).encode("utf-8", errors="surrogatepass")
