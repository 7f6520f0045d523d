"""What y12 wrote when it was two packages is read as it was."""

from y12.runtime.artefact.manifest import Manifest

# Of an FP16 engine of a tiny detector, exported then: the name of its network, which holds the manifest.
NETWORK_NAME = (
    "y12:eNqNkc1KxDAURl8l3JVCHZo61uoTiOBm7EIQkZjcacKkSWhSdBj67ua21XHpJpwcPnJ/coIoNfYC7hkvGCQRDxlBYUKZIBsn"
    "eoxZvYK0IsaS3Ewc3jLGNBi1BJqC8bpg1xX5MPi9sZj9CT5Eknqm3ri1kA9ppV58EU0ZNZpOpz/JevsbnXHJ1lsKfxqV9H+y09wO"
    "ShONpyDsA69h6VGNEgdyR16xcsM383y9V2jJJuOOJKIfB0nDwPn2HrWobuofia4zbp13NFYtz7booh927dWufWF8c5sr8KV4F0ba"
    "Gjw/saYsWJM319zlDVYlHZxdOJ/Ygw8Bh4IRP2KK3l0CjWONRHdu6BASdRNIuNFa+rY+rpfpG5w+h4A="
)


def test_a_manifest_in_a_network_s_name():
    manifest = Manifest.from_network_name(NETWORK_NAME)
    assert manifest is not None
    assert (manifest.model, manifest.task, manifest.precision) == ("tiny", "detect", "fp16")
    assert (manifest.names, manifest.strides) == (("class0", "class1"), (8, 16, 32))
    assert (manifest.profile.batch.max, manifest.profile.opt_hw) == (1, (64, 64))
    assert manifest.engine["builder"] == "TensorRT-RTX 1.7.1.116"
    assert manifest.to_network_name() == NETWORK_NAME
