"""What others do with the same messages and the same relay. Each runs in a process of its own."""
