"""The using wing: embeddings and answers from a trained model, on ONNX Runtime, without torch."""
