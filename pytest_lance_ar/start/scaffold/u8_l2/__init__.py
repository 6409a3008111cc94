"""The kernel target `u8_l2`. A kernel's process imports this package too: nothing that judges belongs here."""
