"""Write the input shape that is asked for into a graph, so that everything behind it knows of it."""

import onnx

from y12.runtime.artefact.manifest import InputProfile

__all__ = ["with_input_shape"]

_NAMES = ("batch", "channels", "height", "width")


def with_input_shape(model: onnx.ModelProto, profile: InputProfile) -> onnx.ModelProto:
    """Return a graph whose input has the fixed sizes of a profile; axes that it leaves free have a name.

    What is noted of other tensors' shapes is dropped where it names axes that have become fixed: all can be inferred.
    """
    shaped = onnx.ModelProto()
    shaped.CopyFrom(model)
    spans = (profile.batch, None, profile.height, profile.width)
    changed = False
    for name, span, dim in zip(_NAMES, spans, shaped.graph.input[0].type.tensor_type.shape.dim, strict=True):
        size = 3 if span is None else span.opt if span.is_fixed else 0
        if dim.dim_value == size:
            continue
        changed = True
        if size:
            dim.dim_value = size
        else:
            dim.dim_param = name
    if not changed:
        return model
    del shaped.graph.value_info[:]
    if profile.is_fixed:
        for output in shaped.graph.output:
            for dim in output.type.tensor_type.shape.dim:
                if not dim.dim_value:
                    dim.Clear()
    return shaped
