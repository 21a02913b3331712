// Reports when a response's body has ended: read, cancelled by the client, or failed, then with the error. The platform prints
// an error that ends a body, so it gets one without details.

export function watchBody(response: Response, onEnd: (error?: unknown) => void): Response {
  if (!response.body) {
    onEnd();
    return response;
  }
  const reader = response.body.getReader();
  let isCancelled = false;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          // A stream that was cancelled in the meantime is closed already.
          if (isCancelled) return;
          if (!done) return controller.enqueue(value);
          controller.close();
          onEnd();
        } catch (error) {
          if (isCancelled) return;
          controller.error(brokenOff());
          onEnd(error);
        }
      },
      async cancel(reason) {
        isCancelled = true;
        await reader.cancel(reason).finally(() => onEnd());
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, response);
}

function brokenOff(): Error {
  const error = new Error('a response broke off; the line of its request in the log has the reason');
  error.stack = error.message;
  return error;
}
