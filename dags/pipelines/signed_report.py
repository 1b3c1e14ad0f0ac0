"""A secret: a report is signed with a key that no record of the run holds.

The key is the secret `report-signing`, whose value docs/how-to/secrets.md shows how to give.
Output: `Output`, the signature: "64e54729…" for the default text and the key "example-signing-key".
"""

from kfp import compiler, dsl, kubernetes


@dsl.component(base_image="python:3.11")
def sign_report(text: str) -> str:
    """Sign a text with the key in SIGNING_KEY."""
    import hashlib
    import hmac
    import os

    key = os.environ["SIGNING_KEY"]
    print(f"signing {len(text)} characters with {key}")  # so that there is something to mask
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


@dsl.pipeline(name="signed-report", description="Sign a text with a key from a secret.")
def signed_report(text: str = "All is well.") -> str:
    signing = sign_report(text=text)
    kubernetes.use_secret_as_env(
        signing, secret_name="report-signing", secret_key_to_env={"key": "SIGNING_KEY"}
    )
    return signing.output


if __name__ == "__main__":
    compiler.Compiler().compile(signed_report, package_path=__file__.replace(".py", ".yaml"))
