"""The equations of `y12.exporter.graph.nms.nms`, as ONNX text: one step a line, with the shape it gives.

B images, A anchors, nc classes, K candidates, R = max_det rows, F columns of a row. In a matrix over pairs (B, K, K)
a row is the box j that is judged, a column the box i that may suppress it: `_i` is (B, 1, K), `_j` is (B, K, 1).
`y12.exporter.graph.nms.text` chooses among them, fills in what is in braces, and gives the constants they name.
"""

# Anchors tell apart whether there is an object and which.
OBJECTNESS = """
    scores = Mul(raw_scores, objectness)            # (B, nc, A)
"""
# Of a heatmap only the peaks count: what is the largest of its 3x3 neighbours, by level and class. The size of a level
# follows from the image's, which may be free.
IMAGE_SIZE = """
    no_batch, no_channels, image_h, image_w = Split<axis=0>(image_shape, one_4)
"""
LEVEL = """
    h_{n} = Div(image_h, stride_{n})                # (1,), in cells
    w_{n} = Div(image_w, stride_{n})
    cells_{n} = Mul(h_{n}, w_{n})
    end_{n} = Add(end_{m}, cells_{n})
    level_{n} = Slice(raw_scores, end_{m}, end_{n}, axis2)
    shape_{n} = Concat<axis=0>(same_two, h_{n}, w_{n})
    map_{n} = Reshape(level_{n}, shape_{n})         # (B, nc, h, w)
    largest_{n} = MaxPool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(map_{n})
    flat_{n} = Reshape(largest_{n}, shape_flat)
"""
PEAKS = """
    largest = Concat<axis=2>({levels})              # (B, nc, A)
    is_peak = Equal(raw_scores, largest)
    scores = Where(is_peak, raw_scores, zero)
"""

# A box has one label, its best class; of equal ones the lowest. `score` is 0 where a box is out.
LABELS = """
    best = {best}                                   # (B, 1, A)
    is_best = Equal(scores, best)                   # (B, nc, A)
    best_ids = Where(is_best, ids, last_id)
    labels = {label}                                # (B, 1, A)
    above = Greater(best, conf)
"""
ALL_CLASSES = """
    passes = Identity(above)                        # (B, 1, A)
"""
SOME_CLASSES = """
    label_ids = Cast<to=7>(labels)
    is_wanted = Gather<axis=0>(wanted, label_ids)   # (nc,) at (B, 1, A)
    chosen = Greater(is_wanted, zero)
    passes = And(above, chosen)
"""
SCORES = """
    all_scores = Where(passes, best, zero)          # (B, 1, A)
    ones = Cast<to=1>(passes)
    count = ReduceSum<keepdims=0>(ones, axis2)      # (B, 1)
"""

# The K best anchors: TopK's order among equal scores does not matter here.
BEST = """
    score_i, anchor = TopK<axis=2>(all_scores, k)   # (B, 1, K)
"""
# Anchors without a score fill up to K; they must not point past the last anchor, and point to the first.
BEST_OF_PADDED = """
    padded_scores = Pad(all_scores, padding)
    score_i, padded_anchor = TopK<axis=2>(padded_scores, k)
    exists = Greater(score_i, zero)
    anchor = Where(exists, padded_anchor, whole_zero)  # (B, 1, K)
"""
CANDIDATES = """
    valid = Greater(score_i, zero)                  # (B, 1, K)
    anchor4 = Expand(anchor, shape4)
    box = GatherElements<axis=2>(boxes, anchor4)    # (B, 4, K)
    label_i = GatherElements<axis=2>(labels, anchor)
    centre, size = Split<axis=1>(box, two_two)      # (B, 2, K) each
"""

# before = i comes before j: a better score, or of equal ones the lower anchor. A total order.
ORDER = """
    anchor_i = Cast<to=1>(anchor)
    anchor_j = Transpose<perm=[0, 2, 1]>(anchor_i)  # (B, K, 1)
    score_j = Transpose<perm=[0, 2, 1]>(score_i)
    better = Greater(score_i, score_j)              # (B, K, K)
    equal = Equal(score_i, score_j)
    first = Less(anchor_i, anchor_j)
    equal_first = And(equal, first)
    before = Or(better, equal_first)
"""
SAME_CLASS = """
    label_j = Transpose<perm=[0, 2, 1]>(label_i)
    same = Equal(label_i, label_j)                  # (B, K, K)
    rivals = And(before, same)
"""
ANY_CLASS = """
    rivals = Identity(before)
"""

# IoU > t, as intersection > t * union: two boxes without area, 0 / 0, leave each other alone.
UPRIGHT = """
    half_size = Mul(size, half)
    low = Sub(centre, half_size)
    high = Add(centre, half_size)
    final_box = Concat<axis=1>(low, high)           # (B, 4, K): x1 y1 x2 y2
    raw_sides = Sub(high, low)
    sides = Relu(raw_sides)                         # of crossed corners there is no area
    w, h = Split<axis=1>(sides, one_one)
    area_i = Mul(w, h)                              # (B, 1, K)
    area_j = Transpose<perm=[0, 2, 1]>(area_i)
    box_j = Transpose<perm=[0, 2, 1]>(final_box)
    x1_i, y1_i, x2_i, y2_i = Split<axis=1>(final_box, one_4)
    x1_j, y1_j, x2_j, y2_j = Split<axis=2>(box_j, one_4)
    left = Max(x1_i, x1_j)                          # (B, K, K)
    right = Min(x2_i, x2_j)
    top = Max(y1_i, y1_j)
    bottom = Min(y2_i, y2_j)
    raw_width = Sub(right, left)
    width = Relu(raw_width)
    raw_height = Sub(bottom, top)
    height = Relu(raw_height)
    intersection = Mul(width, height)
    both_areas = Add(area_i, area_j)
    union = Sub(both_areas, intersection)
    limit = Mul(union, iou)
    overlaps = Greater(intersection, limit)
"""

# ProbIoU > t, as BD < L = -ln(1 - (1 - t)^2), in the form of the runtime's `probiou`, where every term is positive:
#     BD = (spread_i + spread_j) / (4 D) + ln(D / (4 root_i root_j)) / 2,  spread = b p^2 + a q^2
ROTATED = """
    final_box = Identity(box)                       # (B, 4, K): cx cy w h
    angle = GatherElements<axis=2>(angles, anchor)  # (B, 1, K)
    sides = Max(size, min_side)
    squares = Mul(sides, sides)
    variances = Div(squares, twelve)                # (B, 2, K): a along, b across
    w, h = Split<axis=1>(sides, one_one)
    area = Mul(w, h)
    root = Div(area, twelve)
    cosine = Cos(angle)
    sine = Sin(angle)
    gauss = Concat<axis=1>(centre, variances, cosine, sine, root)
    gauss_j = Transpose<perm=[0, 2, 1]>(gauss)
    x_i, y_i, a_i, b_i, c_i, s_i, r_i = Split<axis=1>(gauss, one_7)
    x_j, y_j, a_j, b_j, c_j, s_j, r_j = Split<axis=2>(gauss_j, one_7)
    dx = Sub(x_i, x_j)                              # (B, K, K)
    dy = Sub(y_i, y_j)
    {spread_i}
    {spread_j}
    spreads = Add(spread_i, spread_j)
    cc = Mul(c_i, c_j)
    ss = Mul(s_i, s_j)
    cos = Add(cc, ss)                               # of the angle between i and j
    cos2 = Mul(cos, cos)
    sc = Mul(s_i, c_j)
    cs = Mul(c_i, s_j)
    sin = Sub(sc, cs)
    sin2 = Mul(sin, sin)
    ab = Mul(a_i, b_j)
    ba = Mul(b_i, a_j)
    crossed = Add(ab, ba)
    aa = Mul(a_i, a_j)
    bb = Mul(b_i, b_j)
    straight = Add(aa, bb)
    crossed_part = Mul(cos2, crossed)
    straight_part = Mul(sin2, straight)
    rr_i = Mul(r_i, r_i)
    rr_j = Mul(r_j, r_j)
    own = Add(rr_i, rr_j)
    turned = Add(crossed_part, straight_part)
    D = Add(own, turned)                            # (B, K, K)
    D4 = Mul(D, four)
    near = Div(spreads, D4)
    rr = Mul(r_i, r_j)
    rr4 = Mul(rr, four)
    ratio = Div(D, rr4)
    log = Log(ratio)
    alike = Mul(log, half)
    raw_distance = Add(near, alike)
    distance = Relu(raw_distance)                   # rounding may take it below 0
    overlaps = Less(distance, farthest)
"""
SPREAD = """
    cdx_N = Mul(c_N, dx)
    sdy_N = Mul(s_N, dy)
    p_N = Add(cdx_N, sdy_N)
    cdy_N = Mul(c_N, dy)
    sdx_N = Mul(s_N, dx)
    q_N = Sub(cdy_N, sdx_N)
    pp_N = Mul(p_N, p_N)
    qq_N = Mul(q_N, q_N)
    bpp_N = Mul(b_N, pp_N)
    aqq_N = Mul(a_N, qq_N)
    spread_N = Add(bpp_N, aqq_N)
"""

# keep = valid and suppressed by nobody that is kept, until it stays as it is.
SUPPRESSION = """
    suppresses = And(rivals, overlaps)              # (B, K, K)
    keep = Loop(bound, true, valid) <body = steps (int64 step, bool going, bool[{batch}, 1, {k}] keep_0)
        => (bool changes, bool[{batch}, 1, {k}] keep_{last}) {{
        {steps}
        changed = Xor(keep_{last}, keep_{before_last})
        changed_ones = Cast<to=1>(changed)
        changed_count = ReduceSum<keepdims=0>(changed_ones)
        changes = Greater(changed_count, half)
    }}>
"""
STEP = """
        hits_{n} = And(keep_{m}, suppresses)        # (B, K, K)
        hit_ones_{n} = Cast<to=1>(hits_{n})
        hit_count_{n} = ReduceSum(hit_ones_{n}, axis2)
        free_j_{n} = Less(hit_count_{n}, half)      # (B, K, 1)
        free_{n} = Transpose<perm=[0, 2, 1]>(free_j_{n})
        keep_{n} = And(valid, free_{n})             # (B, 1, K)
"""

# The R first of those that are kept. Their ranks differ, so that TopK's order is the only one possible.
ROWS = """
    before_ones = Cast<to=1>(before)
    rank_j = ReduceSum(before_ones, axis2)          # (B, K, 1)
    rank_i = Transpose<perm=[0, 2, 1]>(rank_j)
    from_last = Sub(k_float, rank_i)                # K to 1
    kept = Reshape(keep, shape_kept)                # shape inference does not look through a Loop
    key = Where(kept, from_last, zero)
    top_key, pick = TopK<axis=2>(key, rows)         # (B, 1, R)
    is_row = Greater(top_key, zero)
    is_row_ones = Cast<to=1>(is_row)
    row_count = ReduceSum<keepdims=0>(is_row_ones, axis2)
    columns = Concat<axis=1>(final_box, score_i, label_i{angle})
    pick_all = Expand(pick, shape_columns)
    own_columns = GatherElements<axis=2>(columns, pick_all)
    picked_anchor = GatherElements<axis=2>(anchor, pick)
"""
# What lies beside a box is fetched by its anchor, for the rows only.
EXTRA = """
    {name}_anchor = Expand(picked_anchor, shape_{name})
    row_{name} = GatherElements<axis=2>({name}, {name}_anchor)
"""
TABLE = """
    all_columns = Concat<axis=1>({columns})         # (B, F, R)
    filled = Where(is_row, all_columns, zero)
"""
PACKED = """
    detections = Transpose<perm=[0, 2, 1]>(filled)  # (B, R, F)
    num = Cast<to=6>(row_count)
    too_many = Greater(count, limit_count)
    truncated = Cast<to=6>(too_many)
"""
SPLIT = """
    table = Transpose<perm=[0, 2, 1]>(filled)       # (B, R, F)
    {outputs} = Split<axis=2>(table, widths)
    num_dets = Cast<to=6>(row_count)
    det_scores = Squeeze(score_column, axis2)       # (B, R)
    flat_labels = Squeeze(label_column, axis2)
    det_classes = Cast<to=6>(flat_labels)
"""
SPLIT_NAMES = {
    "box": "det_boxes",
    "score": "score_column",
    "label": "label_column",
    "angle": "det_angles",
    "coefficients": "det_coefficients",
    "keypoints": "det_keypoints",
}
