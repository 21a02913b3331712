// The header of a GGUF file: little-endian numbers and length-prefixed texts.

export type GgufValue =
  | ['u32', number]
  | ['f32', number]
  | ['bool', boolean]
  | ['text', string]
  | ['f32s', number[]]
  | ['i32s', number[]]
  | ['texts', string[]];
export type GgufMetadata = Record<string, GgufValue>;

/** GGUF's numbers of the types. */
const U32 = 4;
const I32 = 5;
const F32 = 6;
const BOOL = 7;
const TEXT = 8;
const ARRAY = 9;

export class GgufHeader {
  private readonly parts: Uint8Array[] = [];

  constructor(metadata: GgufMetadata, tensors: number) {
    this.parts.push(new TextEncoder().encode('GGUF'));
    this.u32(3).u64(tensors).u64(Object.keys(metadata).length);
    for (const [key, value] of Object.entries(metadata)) this.text(key).value(value);
  }

  tensor(name: string, shape: number[], typeId: number, offset: number): void {
    this.text(name).u32(shape.length);
    for (const extent of shape.toReversed()) this.u64(extent);
    this.u32(typeId).u64(offset);
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.parts);
  }

  private value([type, value]: GgufValue): void {
    if (type === 'u32') this.u32(U32).u32(value);
    else if (type === 'f32') this.u32(F32).f32(value);
    else if (type === 'bool') this.u32(BOOL).push(1, (view) => view.setUint8(0, value ? 1 : 0));
    else if (type === 'text') this.u32(TEXT).text(value);
    else if (type === 'texts') this.array(TEXT, value, (text) => this.text(text));
    else if (type === 'f32s') this.array(F32, value, (number) => this.f32(number));
    else this.array(I32, value, (number) => this.u32(number));
  }

  private array<T>(type: number, items: T[], write: (item: T) => void): void {
    this.u32(ARRAY).u32(type).u64(items.length);
    for (const item of items) write(item);
  }

  private u32(value: number): this {
    return this.push(4, (view) => view.setUint32(0, value, true));
  }

  private u64(value: number): this {
    return this.push(8, (view) => view.setBigUint64(0, BigInt(value), true));
  }

  private f32(value: number): this {
    return this.push(4, (view) => view.setFloat32(0, value, true));
  }

  private text(value: string): this {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.length);
    this.parts.push(bytes);
    return this;
  }

  private push(length: number, write: (view: DataView) => void): this {
    const view = new DataView(new ArrayBuffer(length));
    write(view);
    this.parts.push(new Uint8Array(view.buffer));
    return this;
  }
}
