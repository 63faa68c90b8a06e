// What `[vars]` of wrangler.toml holds, for the type checker.
declare module "cloudflare:workers" {
  export const env: { readonly GREETING: string };
}
