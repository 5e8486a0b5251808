"""What breaks, broken on purpose: networks, disks, processes, other people's files."""
