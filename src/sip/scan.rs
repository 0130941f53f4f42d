//! Cursor, byte classes and the memchr line finder: the only unsafe of L0.
