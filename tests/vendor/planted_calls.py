"""Wrong uses of TensorRT, one in each function; the comment says in which releases it is wrong. Never run."""

from types import ModuleType
from typing import TYPE_CHECKING, Any

from y12.runtime.backends.tensorrt.bindings import Bindings, process_logger

if TYPE_CHECKING:
    from y12.runtime.backends.tensorrt.bindings import tensorrt


def wrong_name_of_the_module(bindings: Bindings) -> None:
    print(bindings.trt.Bilder(process_logger(bindings)))  # wrong: all


def wrong_method(context: "tensorrt.IExecutionContext") -> None:
    context.execute_async_v4(0)  # wrong: all


def wrong_method_of_a_return_value(builder: "tensorrt.Builder") -> None:
    builder.create_builder_config().set_memory_limit(1)  # wrong: all


def too_many_arguments(context: "tensorrt.IExecutionContext") -> None:
    context.set_tensor_address("images", 0, 1)  # wrong: all


def too_few_arguments(profile: "tensorrt.IOptimizationProfile") -> None:
    profile.set_shape("images", (1, 3, 32, 32), (1, 3, 32, 32))  # wrong: all


def too_few_for_a_constructor(bindings: Bindings, network: "tensorrt.INetworkDefinition") -> None:
    print(bindings.trt.OnnxParser(network))  # wrong: all


def wrong_keyword(builder: "tensorrt.Builder") -> None:
    builder.create_network(flag=1)  # wrong: all


def wrong_member(bindings: Bindings, config: "tensorrt.IBuilderConfig") -> None:
    config.profiling_verbosity = bindings.trt.ProfilingVerbosity.VERBOSE  # wrong: all


def member_of_release_10(bindings: Bindings, config: "tensorrt.IBuilderConfig") -> None:
    config.set_flag(bindings.trt.BuilderFlag.FP16)  # wrong: 11.4 rtx-1.7


def method_of_release_10(network: "tensorrt.INetworkDefinition", weights: "tensorrt.Weights") -> None:
    network.add_fill((1,), weights).set_input(0, weights)  # wrong: all


def class_of_release_10(bindings: Bindings) -> None:
    print(bindings.trt.IInt8EntropyCalibrator2())  # wrong: 11.4 rtx-1.7


def calibrator_of_release_10(config: "tensorrt.IBuilderConfig") -> None:
    config.int8_calibrator = None  # wrong: all


def read_only_property(engine: "tensorrt.ICudaEngine") -> None:
    engine.num_io_tensors = 2  # wrong: all


def property_called(engine: "tensorrt.ICudaEngine") -> None:
    print(engine.num_io_tensors())  # wrong: all


def method_not_called(engine: "tensorrt.ICudaEngine") -> None:
    print(engine.get_tensor_name + 1)  # wrong: all


def new_property(config: "tensorrt.IBuilderConfig") -> None:
    config.max_workspace_size = 1 << 30  # wrong: all


def wrong_type(bindings: Bindings, config: "tensorrt.IBuilderConfig") -> None:
    config.set_memory_pool_limit(bindings.trt.BuilderFlag.TF32, 1)  # wrong: all


def text_for_a_number(context: "tensorrt.IExecutionContext") -> None:
    context.set_tensor_address("images", "0x0")  # wrong: all


def wrong_object_of_ours(bindings: Bindings, config: "tensorrt.IBuilderConfig") -> None:
    print(bindings.trt.Builder(config))  # wrong: all


def class_made_that_cannot_be(bindings: Bindings) -> None:
    print(bindings.trt.IBuilderConfig())  # wrong: all


def unguarded_method_of_rtx(context: "tensorrt.IExecutionContext") -> None:
    context.is_stream_capturable(0)  # wrong: 10.16 11.4


def unguarded_class_of_rtx(bindings: Bindings) -> None:
    print(bindings.trt.ComputeCapability.SM80)  # wrong: 10.16 11.4


def guarded_the_wrong_way(context: "tensorrt.IExecutionContext") -> None:
    if not hasattr(context, "is_stream_capturable"):
        context.is_stream_capturable(0)  # wrong: 10.16 11.4


def wrong_beyond_the_guard(context: "tensorrt.IExecutionContext") -> None:
    if hasattr(context, "is_stream_capturable"):
        context.is_stream_capturable()  # wrong: rtx-1.7


def wrong_after_a_guard_that_leaves(bindings: Bindings, config: "tensorrt.IBuilderConfig") -> None:
    if not hasattr(bindings.trt, "ComputeCapability"):
        return
    config.num_compute_capability = 1  # wrong: rtx-1.7


def guard_for_nothing(engine: "tensorrt.ICudaEngine") -> bool:
    return hasattr(engine, "create_runtime_confg")  # wrong: guard


def guard_of_the_wrong_object(bindings: Bindings) -> bool:
    return hasattr(bindings.trt, "create_runtime_config")  # wrong: guard


def where_it_failed(runtime: "tensorrt.Runtime") -> None:
    engine: tensorrt.ICudaEngine | None = runtime.deserialize_cuda_engine(b"")
    if engine is None:
        runtime.why_not()  # wrong: all


def failure_not_asked_for(runtime: "tensorrt.Runtime") -> None:
    print(runtime.deserialize_cuda_engine(b"").num_io_tensors)  # wrong: all


def in_a_comprehension(engine: "tensorrt.ICudaEngine") -> list[str]:
    return [engine.get_tensor_names(i) for i in range(engine.num_io_tensors)]  # wrong: all


def in_a_lambda(engines: "list[tensorrt.ICudaEngine]") -> "list[tensorrt.ICudaEngine]":
    return sorted(engines, key=lambda engine: engine.name_of_it)  # wrong: all


def annotated_as_another(builder: "tensorrt.Builder") -> None:
    config: tensorrt.INetworkDefinition = builder.create_builder_config()  # wrong: all
    print(config.name)


def overridden_otherwise(bindings: Bindings) -> object:
    if TYPE_CHECKING:
        from tensorrt import ILogger
    else:
        ILogger = bindings.trt.ILogger

    class Mine(ILogger):
        def log(self, msg: str) -> None:  # wrong: all
            print(msg)

    return Mine()


def spread(context: "tensorrt.IExecutionContext", arguments: list[Any]) -> None:
    context.set_input_shape(*arguments)  # wrong: spelling


def spread_by_name(builder: "tensorrt.Builder", arguments: dict[str, Any]) -> None:
    builder.create_network(**arguments)  # wrong: spelling


def looked_up_by_name(engine: "tensorrt.ICudaEngine") -> object:
    return getattr(engine, "num_tensors", 0)  # wrong: spelling


def computed_name(engine: "tensorrt.ICudaEngine", name: str) -> object:
    return getattr(engine, name)  # wrong: spelling


def hidden_in_any(engine: Any) -> None:  # wrong: spelling
    print(engine.anything())


def hidden_in_any_module(trt: ModuleType) -> None:  # wrong: spelling
    print(trt.Builder())


def returned_as_any(builder: "tensorrt.Builder") -> Any:  # wrong: spelling
    return builder.create_builder_config()


def bound_to_any(builder: "tensorrt.Builder") -> None:
    config: Any = builder.create_builder_config()  # wrong: spelling
    config.set_memory_limit(1)


def told_to_be_silent(engine: "tensorrt.ICudaEngine") -> None:
    engine.num_io_tensors = 2  # type: ignore[misc]  # wrong: spelling
