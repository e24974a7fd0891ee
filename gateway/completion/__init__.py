"""Scripts that let a shell complete the command line of `gateway`.

They are made of the command line as it is, and hold all of it: a shell answers Tab by itself, in milliseconds. Typer's
own completion runs the program at each Tab, a quarter of a second of processor time, and knows no directories.
"""
