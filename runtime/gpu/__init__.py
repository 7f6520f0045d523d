"""Images to Detections on a GPU: one upload, one CUDA graph, one small download.

device.py    what is needed of a device and of a network on it     frames.py  images on the host or on the device
lane.py      one worker: stream, memory, a graph for each batch    results.py what comes back, as Detections
pipeline.py  all workers of one engine
"""
