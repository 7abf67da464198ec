"""The oracle: the contract's figures by a plain batch computation, and the tests that hold the engine to it."""
