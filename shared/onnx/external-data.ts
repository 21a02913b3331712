// The file of weights that both graphs of a policy read. Every weight is written once, in the layout that its precision
// wants, at a page boundary so that ONNX Runtime can map it; what is smaller than a page travels inside the graphs.
import { type FileHandle, open } from 'node:fs/promises';
import type { Initializer, OnnxType, TensorData } from './model-proto.ts';

const PAGE_BYTES = 4096;
/** Node writes at most 2 GiB at a time. */
const CHUNK_BYTES = 1 << 28;

export class ExternalDataFile {
  /** What has been stored, by name. */
  readonly initializers = new Map<string, Initializer>();
  private readonly file: FileHandle;
  private readonly location: string;
  private length = 0;

  private constructor(file: FileHandle, location: string) {
    this.file = file;
    this.location = location;
  }

  /** `location` is the file's name as the graphs beside it write it. */
  static async create(path: string, location: string): Promise<ExternalDataFile> {
    return new ExternalDataFile(await open(path, 'w'), location);
  }

  async store(name: string, type: OnnxType, dims: number[], data: TensorData): Promise<void> {
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

  /** The same bytes under another name and shape. */
  alias(name: string, of: string, dims: number[]): void {
    this.initializers.set(name, { ...this.initializers.get(of)!, name, dims });
  }

  /** Once this resolves the weights are on disk. */
  async close(): Promise<void> {
    try {
      // A graph that names its weight file must find one, even where every weight was small enough to go inside.
      if (this.length === 0) await this.file.write(new Uint8Array(1), 0, 1, 0);
      await this.file.sync();
    } finally {
      await this.file.close();
    }
  }
}
