"""What is known before a trial and after it: options, the trial itself, the kernel's source, evidence, verdict."""
