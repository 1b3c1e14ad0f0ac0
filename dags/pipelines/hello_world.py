"""Hello world: one component, one parameter, one output.

Output: `Output`, as KFP names the only value that a component returns: "Hello, World!" unless `recipient`
differs.
"""

from kfp import compiler, dsl


@dsl.component(base_image="python:3.11")
def say_hello(recipient: str) -> str:
    """Greet somebody."""
    greeting = f"Hello, {recipient}!"
    print(greeting)
    return greeting


@dsl.pipeline(name="hello-world", description="The smallest pipeline: one component.")
def hello_world(recipient: str = "World") -> str:
    return say_hello(recipient=recipient).output


if __name__ == "__main__":
    compiler.Compiler().compile(hello_world, package_path=__file__.replace(".py", ".yaml"))
