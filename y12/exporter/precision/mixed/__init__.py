"""What a precision costs on data: scores of graphs, block by block, and the blocks that a budget keeps in FP16."""
