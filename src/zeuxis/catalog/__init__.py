"""What there is and how it is opened: cards (listing), systems from recipes (build, assemble), weights."""
