// Writes the external data file of ONNX graphs. Tensors start at page boundaries so that ONNX Runtime can memory-map them;
// a tensor smaller than a page is embedded in the graphs instead.
import { type FileHandle, open } from 'node:fs/promises';
import type { Initializer, OnnxType, TensorData } from './model-proto.ts';

const PAGE_BYTES = 4096;
/** Node writes at most 2 GiB at a time. */
const CHUNK_BYTES = 1 << 28;

export class ExternalDataFile {
  /** The tensors written so far, by name. */
  readonly initializers = new Map<string, Initializer>();
  private readonly file: FileHandle;
  private readonly location: string;
  private length = 0;

  private constructor(file: FileHandle, location: string) {
    this.file = file;
    this.location = location;
  }

  /** `location`: the file's path relative to the graphs. */
  static async create(path: string, location: string): Promise<ExternalDataFile> {
    return new ExternalDataFile(await open(path, 'w'), location);
  }

  async write(name: string, type: OnnxType, dims: number[], data: TensorData): Promise<void> {
    if (data.byteLength < PAGE_BYTES) {
      this.initializers.set(name, { name, type, dims, data });
      return;
    }
    const offset = Math.ceil(this.length / PAGE_BYTES) * PAGE_BYTES;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(CHUNK_BYTES, bytes.length - done);
      done += (await this.file.write(bytes, done, length, offset + done)).bytesWritten;
    }
    this.length = offset + bytes.length;
    const external = { location: this.location, offset, length: bytes.length };
    this.initializers.set(name, { name, type, dims, external });
  }

  /** Makes the bytes of tensor `of` available under another name and shape. */
  alias(name: string, of: string, dims: number[]): void {
    this.initializers.set(name, { ...this.initializers.get(of)!, name, dims });
  }

  /** Fsyncs and closes the file. */
  async close(): Promise<void> {
    try {
      // The file must not be empty, even if every tensor was small enough to be embedded.
      if (this.length === 0) await this.file.write(new Uint8Array(1), 0, 1, 0);
      await this.file.sync();
    } finally {
      await this.file.close();
    }
  }
}
