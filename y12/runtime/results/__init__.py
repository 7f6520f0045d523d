"""`Detections`, masks, oriented boxes, JSON, drawing."""
