"""The extra `demo`: what reads GGUF files is there, for the weights of smollm2-135m."""

import gguf
import numpy as np

writer = gguf.GGUFWriter("tiny.gguf", "llama")
writer.add_tensor("weight", np.ones(32, dtype=np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
assert [tensor.name for tensor in gguf.GGUFReader("tiny.gguf").tensors] == ["weight"]
