// What the agent takes of libraries that no other command has. The build puts this file into a script of its own, which
// the binary carries beside the program's and reads when the agent starts (shared/bundling/program.ts): with them in
// the program's, each command would compile them.

export { KubeConfig } from '@kubernetes/client-node/dist/config.js'
export { type HttpMethod, RequestContext } from '@kubernetes/client-node/dist/gen/http/http.js'
export { IsomorphicFetchHttpLibrary } from '@kubernetes/client-node/dist/gen/http/isomorphic-fetch.js'
export { Watch } from '@kubernetes/client-node/dist/watch.js'
export { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
