// Serializes ONNX models (onnx.proto3, IR version 9) without a protobuf library: seven message types are enough. Models
// are not validated here; ONNX Runtime does that when it loads them.

export type OnnxType = 'float32' | 'uint8' | 'int8' | 'int32' | 'int64' | 'bool' | 'float16';
export type TensorData = Float32Array | Int32Array | BigInt64Array | Uint8Array | Int8Array | Uint16Array;
/** A number is an INT attribute, `{ float }` a FLOAT, an array INTS, `{ graph }` a branch of an If. */
export type Attribute = number | string | number[] | { float: number } | { graph: OnnxGraph };

export type OnnxNode = {
  op: string;
  inputs: string[];
  outputs: string[];
  attributes?: Record<string, Attribute>;
  domain?: string;
};
/** A tensor in another file; `location` is relative to the model's folder. */
export type ExternalData = { location: string; offset: number; length: number };
export type Initializer = { name: string; type: OnnxType; dims: number[] } & (
  | { data: TensorData }
  | { external: ExternalData }
);
/** A graph input or output; a string is a symbolic dimension. */
export type ValueInfo = { name: string; type: OnnxType; dims: (number | string)[] };
export type OnnxGraph = {
  name?: string;
  nodes: OnnxNode[];
  inputs: ValueInfo[];
  outputs: ValueInfo[];
  initializers: Initializer[];
};

const DATA_TYPE: Record<OnnxType, number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
};

class Message {
  private parts: Uint8Array[] = [];
  private length = 0;

  private push(bytes: Uint8Array): void {
    this.parts.push(bytes);
    this.length += bytes.length;
  }

  private varint(value: number): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    const bytes: number[] = [];
    do {
      const low = Number(rest & 127n);
      rest >>= 7n;
      bytes.push(rest ? low | 128 : low);
    } while (rest);
    this.push(Uint8Array.from(bytes));
  }

  int(field: number, value: number): this {
    this.varint(field << 3);
    this.varint(value);
    return this;
  }

  float(field: number, value: number): this {
    this.varint((field << 3) | 5);
    this.push(new Uint8Array(new Float32Array([value]).buffer));
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.varint((field << 3) | 2);
    this.varint(value.length);
    this.push(value);
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, value: Message): this {
    return this.bytes(field, value.finish());
  }

  finish(): Uint8Array {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

function attributeMessage(name: string, value: Attribute): Message {
  const message = new Message().text(1, name);
  if (typeof value === 'string') return message.text(4, value).int(20, 3);
  if (Array.isArray(value)) {
    for (const item of value) message.int(8, item);
    return message.int(20, 7);
  }
  if (typeof value === 'number') return message.int(3, value).int(20, 2);
  if ('graph' in value) return message.message(6, graphMessage(value.graph)).int(20, 5);
  return message.float(2, value.float).int(20, 1);
}

function nodeMessage(node: OnnxNode): Message {
  const message = new Message();
  for (const input of node.inputs) message.text(1, input);
  for (const output of node.outputs) message.text(2, output);
  message.text(3, node.outputs.find((output) => output) ?? '').text(4, node.op);
  for (const [name, value] of Object.entries(node.attributes ?? {})) message.message(5, attributeMessage(name, value));
  if (node.domain) message.text(7, node.domain);
  return message;
}

function initializerMessage(initializer: Initializer): Message {
  const message = new Message();
  for (const dim of initializer.dims) message.int(1, dim);
  message.int(2, DATA_TYPE[initializer.type]).text(8, initializer.name);
  if ('data' in initializer) {
    const { buffer, byteOffset, byteLength } = initializer.data;
    return message.bytes(9, new Uint8Array(buffer, byteOffset, byteLength));
  }
  for (const [key, value] of Object.entries(initializer.external))
    message.message(13, new Message().text(1, key).text(2, String(value)));
  return message.int(14, 1);
}

function valueMessage(value: ValueInfo): Message {
  const shape = new Message();
  for (const dim of value.dims)
    shape.message(1, typeof dim === 'number' ? new Message().int(1, dim) : new Message().text(2, dim));
  const tensor = new Message().int(1, DATA_TYPE[value.type]).message(2, shape);
  return new Message().text(1, value.name).message(2, new Message().message(1, tensor));
}

function graphMessage(graph: OnnxGraph): Message {
  const message = new Message();
  for (const node of graph.nodes) message.message(1, nodeMessage(node));
  message.text(2, graph.name ?? 'graph');
  for (const initializer of graph.initializers) message.message(5, initializerMessage(initializer));
  for (const input of graph.inputs) message.message(11, valueMessage(input));
  for (const output of graph.outputs) message.message(12, valueMessage(output));
  return message;
}

/** Serializes a ModelProto with opset 18 and com.microsoft 1. */
export function writeOnnxModel(graph: OnnxGraph): Uint8Array {
  return new Message()
    .int(1, 9)
    .text(2, 'attune')
    .message(7, graphMessage(graph))
    .message(8, new Message().text(1, '').int(2, 18))
    .message(8, new Message().text(1, 'com.microsoft').int(2, 1))
    .finish();
}
