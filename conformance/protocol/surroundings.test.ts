import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { resultOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites, systemCommand } from '../harness/locations.js'
import { type Call, environment, runPlugin } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'

// What a caller may have in its environment that means something to Node, to the loader or to a tool, and nothing to
// us.
const surroundings: Record<string, Record<string, string | undefined>> = {
  'a module that Node shall load first': { NODE_OPTIONS: '--require=/nonexistent/module.js' },
  'an inspector': { NODE_OPTIONS: '--inspect=127.0.0.1:0' },
  'an option Node does not know': { NODE_OPTIONS: '--no-such-option' },
  'extra certificates that are not there': { NODE_EXTRA_CA_CERTS: '/nonexistent.pem' },
  'debug output of Node': { NODE_DEBUG: 'fs,module,child_process,net,stream,timers' },
  'the channel of a Node that started it': { NODE_CHANNEL_FD: '77', NODE_CHANNEL_SERIALIZATION_MODE: 'json' },
  'coverage of Node': { NODE_V8_COVERAGE: '/run/coverage' },
  'warnings of Node': { NODE_PENDING_DEPRECATION: '1', NODE_NO_WARNINGS: '0' },
  'a module path': { NODE_PATH: '/nonexistent' },
  'a library path': { LD_LIBRARY_PATH: '/run', LD_BIND_NOW: '1' },
  'no home': { HOME: undefined },
  'a home that is not there': { HOME: '/nonexistent', TMPDIR: '/nonexistent' },
  'no PATH at all': { PATH: undefined },
  'an empty PATH': { PATH: '' },
  'a PATH of nothing useful': { PATH: '/nonexistent:/run' },
  'another language': { LC_ALL: 'de_DE.UTF-8', LANG: 'de_DE.UTF-8', LANGUAGE: 'de' },
  'no colours': { NO_COLOR: '1', TERM: 'dumb' },
  'forced colours': { FORCE_COLOR: '3', CLICOLOR_FORCE: '1' },
  'the variables of pkg': { PKG_EXECPATH: 'PKG_INVOKE_NODEJS', PKG_DEBUG: '1', PKG_NATIVE_CACHE_PATH: '/nonexistent' },
}

const config = {
  cniVersion: '1.1.0',
  name: 'n',
  type: 'bridge',
  bridge: 'br0',
  isGateway: true,
  ipMasq: true,
  args: { cni: { mac: '02:00:00:00:00:05' } },
  ipam: { type: 'host-local', subnet: '10.1.2.0/24', routes: [{ dst: '0.0.0.0/0' }] },
}

const call = (env: Record<string, string | undefined>, more: Partial<Call> = {}): Call => ({
  plugin: 'bridge',
  command: 'ADD',
  config,
  netns: '/run/netns/container0',
  env,
  ...more,
})

/**
 * ADD, CHECK and DEL in surroundings that must not matter: all silent on stderr, and the result that is always the
 * same.
 */
async function lifeOf(host: Host, run: (more: Partial<Call>) => Promise<Finished>): Promise<void> {
  await host.container()
  const added = await run({})
  const { ips, routes, interfaces } = resultOf(added)
  expect(added.stderr).toBe('')
  expect({ ips, routes, mac: interfaces?.[2]?.mac }).toEqual({
    ips: [{ address: '10.1.2.2/24', gateway: '10.1.2.1', interface: 2 }],
    routes: [{ dst: '0.0.0.0/0' }],
    mac: '02:00:00:00:00:05',
  })
  expect(added.stdout).toMatch(/^\{\n {4}"cniVersion": "1\.1\.0",\n/)
  const prevResult = resultOf(added)
  for (const command of ['CHECK', 'DEL'] as const) {
    const finished = await run({ command, config: { ...config, prevResult } })
    expect(finished, command).toMatchObject({ status: 0, stdout: '', stderr: '' })
  }
}

describe('the surroundings of the caller change nothing:', () => {
  for (const [name, env] of Object.entries(surroundings)) {
    test(name, async ({ host }) => {
      await lifeOf(host, (more) => runPlugin(host, call(env, more)))
    })
  }

  // What a shell does before it becomes the plugin; constants of this file, nothing else is ever in a shell's text.
  const preludes: Record<string, string> = {
    'a working directory that was removed': 'mkdir /run/gone && cd /run/gone && rmdir /run/gone',
    'a umask that forbids everything': 'umask 777',
    'a umask that allows everything': 'umask 000',
    'few file descriptors': 'ulimit -n 64',
    'signals that are ignored': "trap '' PIPE HUP CHLD",
    'open descriptors that were inherited': 'exec 8</etc/passwd 9>/dev/null',
  }
  for (const [name, prelude] of Object.entries(preludes)) {
    test(name, async ({ host }) => {
      await lifeOf(host, (more) => {
        const asked = call({}, more)
        const argv = [systemCommand('sh'), '-c', `${prelude}; exec "$0"`, join(suites.podwire, asked.plugin)]
        return host.exec(argv, { stdin: JSON.stringify(asked.config), env: environment(asked) })
      })
    })
  }
})
