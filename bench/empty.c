// A library with nothing in it: what preloading costs before any of our work (bench/run preload).
// ISO C wants one declaration.
typedef int pst_empty;
