"""`stella doctor`: looks at an installation part by part and says what to do; it changes nothing."""
