"""The command line as ``python -m drt_engine``, for where the folder of installed programs is not searched."""

from drt_engine.cli import main

if __name__ == "__main__":
    main()
