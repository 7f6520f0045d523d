"""Images to Detections on a GPU: one upload, one CUDA graph, one small download.

device.py    what is needed of a device and of a network on it    packed_buffer.py  several arrays in one copy
frames.py    images, on the host or on the device                 predictions.py    the parts of a network's outputs
postprocess.py  outputs to objects: boxes.py, by kernels; keypoints_and_masks.py
download.py  outputs as they are: of a network that ends in NMS
worker.py    one worker: stream, memory, a graph for each batch
pipeline.py  all workers of one network
"""
