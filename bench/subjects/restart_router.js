// The baseline `restart`: each build is a service of workerd's own configuration, bound here by its path.
export default {
  fetch(request, env) {
    const [name, version] = new URL(request.url).pathname.slice(1).split("/");
    const build = env[`${name}/${version}`];
    return build ? build.fetch(request) : new Response("no such build", { status: 404 });
  },
};
