/** Why a request gets no answer from a build; its `body` is a problem of RFC 9457. */
export class Problem extends Error {
  constructor(status, code, title, detail) {
    super(detail);
    this.body = { type: "about:blank", title, status, code, detail };
  }

  toResponse() {
    const headers = { "content-type": "application/problem+json" };
    if (this.body.status === 401) headers["www-authenticate"] = "RestateSignature"; // RFC 9110 asks for one
    return Response.json(this.body, { status: this.body.status, headers });
  }
}
