"""One distillation in Limbeck, in torchdistill and in a plain loop: time, memory, accuracy."""
