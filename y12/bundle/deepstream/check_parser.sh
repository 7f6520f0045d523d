#!/bin/sh
# Say whether the library named in config_infer_primary.txt has the function that nvinfer will call, and else what to do.
set -eu
cd "$(dirname "$0")"

value_of() {
    sed -n "s/^$1=//p" config_infer_primary.txt
}

library=$(value_of custom-lib-path)
function=$(value_of parse-bbox-func-name)
case ${function} in
NvDsInferParseYolo)
    remedy="git clone https://github.com/marcoslucianops/DeepStream-Yolo, make it by CUDA_VER=12.6 (your CUDA's) make -C \
DeepStream-Yolo/nvdsinfer_custom_impl_Yolo, and copy its libnvdsinfer_custom_impl_Yolo.so here" ;;
*)
    remedy="export with --nms --nms-outputs packed, which DeepStream-Yolo's parser reads; or add ${function} to \
/opt/nvidia/deepstream/deepstream/sources/libs/nvdsinfer_customparser, make it there, and name the library that comes \
of it in custom-lib-path" ;;
esac

refuse() {
    echo "error: $1; ${remedy}" >&2
    exit 1
}

command -v nm > /dev/null || { echo "error: expected nm, found none; apt-get install binutils" >&2 && exit 1; }
[ -f "${library}" ] || refuse "${library}: expected the library of ${function}, found none"
symbols=$(nm -D --defined-only "${library}") || refuse "${library}: expected a shared library, found another file"
echo "${symbols}" | grep -qw "${function}" || refuse "${library}: expected ${function} in it, found none"
echo "${library} has ${function}"
