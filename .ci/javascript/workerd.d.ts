// What workerd has beyond the web platform, as far as our scripts use it.
declare module "cloudflare:workers" {
  export const env: any;
  export class WorkerEntrypoint {
    ctx: any;
    env: any;
  }
  export function abortIsolate(reason?: string): never;
}
declare class IdentityTransformStream extends TransformStream {}
interface Scheduler {
  wait(milliseconds: number): Promise<void>;
}
