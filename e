halted with 0, fuel spent 284843
