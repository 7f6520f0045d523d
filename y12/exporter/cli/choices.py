"""The choices that the commands offer. Some repeat a list of another room: a command's help does not wait for that."""

from enum import StrEnum

Format = StrEnum("Format", ["ONNX", "ENGINE"])
Bits = StrEnum("Bits", {"INT8": "8", "FP16": "16"})
Flavour = StrEnum("Flavour", ["AUTO", "FULL", "RTX"])  # of TensorRT
Method = StrEnum("Method", ["AUTO", "MSE", "L3", "PERCENTILE", "MAX"])  # quantization_options.METHODS
Target = StrEnum("Target", ["TRT", "CPU"])  # y12.runtime.artefact.manifest.TARGETS
NmsForm = StrEnum("NmsForm", ["PACKED", "SPLIT"])  # y12.runtime.artefact.nms_settings.OWN_NMS_FORMS
Split = StrEnum("Split", ["TRAIN", "VAL", "TEST"])  # y12.exporter.data.splits.SPLITS
IouLoss = StrEnum("IouLoss", ["IOU", "GIOU", "DIOU", "CIOU"])  # y12.exporter.train.losses.terms.iou.IOU_KINDS
ClassLoss = StrEnum("ClassLoss", ["BCE", "FOCAL", "VARIFOCAL"])  # y12.exporter.train.losses.terms.classes.CLASS_LOSSES
TrainPrecision = StrEnum("TrainPrecision", {"AUTO": "auto", "FP32": "32", "BF16": "bf16"})  # …train.options.PRECISIONS
Device = StrEnum("Device", ["AUTO", "CPU", "CUDA"])
