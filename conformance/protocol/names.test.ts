import { randomUUID } from 'node:crypto'
import { copyFileSync, linkSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { listPlugins } from '../../shared/bundling/plugins.js'
import { errorOf, resultOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { Host } from '../harness/host.js'
import { commandPath, repository, suites, systemCommand } from '../harness/locations.js'
import { environment, type Verb } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { readTrace } from '../harness/trace.js'
import { versions } from './versions.js'

// The suite under names that others give it: which plugin is it then?

const plugins = listPlugins(repository).map(({ name }) => name)
const directory = join(suites.podwire, `../names-${randomUUID()}`)
const file = join(directory, 'file')
const place = (name: string) => join(directory, name)

let host: Host

beforeAll(async () => {
  mkdirSync(directory)
  copyFileSync(join(suites.podwire, 'bridge'), file)
  host = await Host.create()
})

afterAll(async () => {
  rmSync(directory, { recursive: true, force: true })
  await host.dispose()
})

/** Gives a file one more name. */
const ways = {
  'hard link': (name: string) => linkSync(file, place(name)),
  'symbolic link to a file of no name': (name: string) => symlinkSync('file', place(name)),
}

type Way = keyof typeof ways

/** The name, for as long as `body` runs. */
async function named<T>(name: string, way: Way, body: (path: string) => Promise<T>): Promise<T> {
  ways[way](name)
  try {
    return await body(place(name))
  } finally {
    rmSync(place(name))
  }
}

async function about(argv: readonly string[], env: Record<string, string> = { PATH: commandPath }): Promise<string> {
  const { status, stdout, stderr } = await host.exec(argv, { env })
  expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: '' })
  return /^CNI (\S+) plugin v/.exec(stderr)?.[1] ?? stderr
}

// bash takes a socket on its standard input for a remote shell and would read the user's start-up file.
const calling = (argv0: string, path: string) => [
  ...[systemCommand('bash'), '--norc', '-c', 'exec -a "$1" "$2"', 'bash'],
  ...[argv0, path],
]

const call = (command: Verb, config?: object, more: { netns?: string; path?: string; containerID?: string } = {}) => ({
  env: environment({ plugin: '', command, netns: '/run/netns/none', path: directory, ...more }),
  stdin: config === undefined ? '' : JSON.stringify({ cniVersion: '1.1.0', name: 'n', ...config }),
})

describe.each(plugins)('%s', (plugin) => {
  const spellings = [
    `cnv-${plugin}`,
    `buildkit-cni-${plugin}`,
    `.${plugin}-wrapped`,
    `${plugin}.real`,
    `a_${plugin}`,
    `${plugin}+1`,
  ]

  test.each(Object.keys(ways) as Way[])('is found in the parts of the name of a %s', async (way) => {
    for (const name of spellings) expect(await named(name, way, (path) => about([path])), name).toBe(plugin)
  })

  test('is found by argv[0], whatever the file is called', async () => {
    for (const name of [plugin, `/nowhere/${plugin}`, ...spellings])
      expect(await about(calling(name, file))).toBe(plugin)
  })

  test('is found by what a link of any name leads to, over others', async () => {
    symlinkSync(join(suites.podwire, plugin), place('first'))
    symlinkSync('first', place('second'))
    symlinkSync('../../nothing/to/be/found', place('broken'))
    mkdirSync(place('below'), { recursive: true })
    symlinkSync('../second', place('below/third'))
    const PATH = `${directory}:${commandPath}`
    try {
      for (const name of ['first', 'second', 'below/third']) expect(await about([place(name)])).toBe(plugin)
      // argv[0] as a shell gives it that found the program on PATH, and one that has nothing to do with the file.
      const shell = [systemCommand('bash'), '--norc', '-c', 'cd "$1"; exec "$2"', 'bash']
      expect(await about([...shell, '/', 'second'], { PATH })).toBe(plugin)
      expect(await about([...shell, directory, './second'], { PATH })).toBe(plugin)
      for (const argv0 of ['other', '', place('broken')]) {
        expect(await about(calling(argv0, place('second')))).toBe(plugin)
      }
    } finally {
      for (const name of ['first', 'second', 'broken', 'below']) rmSync(place(name), { recursive: true })
    }
  })

  test('is found by a link to a name that has it as a part', async () => {
    await named(`x-${plugin}`, 'hard link', async () => {
      symlinkSync(`x-${plugin}`, place('foo'))
      expect(await about([place('foo')])).toBe(plugin)
      rmSync(place('foo'))
    })
  })

  test('is found by the type of the configuration, where no name says it', async () => {
    for (const type of [plugin, `cnv-${plugin}`]) {
      const { status, stdout, stderr } = await host.exec([file], call('DEL', { type, dataDir: '/run' }))
      const direct = await host.exec([join(suites.podwire, plugin)], call('DEL', { type, dataDir: '/run' }))
      expect({ status, stdout, stderr, signal: null }).toEqual(direct)
    }
  })

  test('answers VERSION as by its own name', async () => {
    const own = await host.exec([join(suites.podwire, plugin)], call('VERSION'))
    expect(own.status).toBe(0)
    expect(await named(`cnv-${plugin}`, 'hard link', (path) => host.exec([path], call('VERSION')))).toEqual(own)
  })

  test('takes a configuration whose type is another word', async () => {
    const own = await host.exec([join(suites.podwire, plugin)], call('DEL', { type: plugin }))
    for (const type of ['other', 'cnv-bridge', '', undefined]) {
      expect(await host.exec([join(suites.podwire, plugin)], call('DEL', { type }))).toEqual(own)
    }
  })
})

describe('a name that says nothing', () => {
  test('has the suite answer VERSION and tell about itself', async () => {
    const { status, stdout, stderr } = await host.exec([file], call('VERSION'))
    const expected = `${JSON.stringify({ cniVersion: '1.1.0', supportedVersions: versions })}\n`
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: expected, stderr: '' })
    const text = await about([file])
    for (const word of [...plugins, ...versions, 'podwire']) expect(text).toContain(word)
  })

  const refused: [string, object | undefined, number, string][] = [
    ['no type', {}, 7, 'file'],
    ['an unknown type', { type: 'other' }, 7, 'other'],
    ['a type that is no text', { type: 5 }, 7, '5'],
    ['a type that means two', { type: 'ptp-tap' }, 7, 'ptp or tap'],
    ['no network name', { name: '' }, 7, 'missing network name'],
    ['no configuration', undefined, 6, 'unexpected end of JSON input'],
  ]
  test.each(refused)('and %s are one error', async (_, config, code, mentions) => {
    for (const verb of ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS'] as const) {
      const error = errorOf(await host.exec([file], call(verb, config)))
      expect(error.code).toBe(code)
      expect(`${error.msg}${error.details}`).toContain(mentions)
    }
  })

  test('is looked at after the environment', async () => {
    const error = errorOf(await host.exec([file], { env: { CNI_COMMAND: 'ADD' }, stdin: '{}' }))
    expect(error.code).toBe(4)
  })
})

test.each(['ptp-tap', '.static_bridge', 'vrf-x-sbr'])('a name that means two is an error for everything: %s', (name) =>
  named(name, 'hard link', async (path) => {
    for (const verb of ['VERSION', 'ADD', 'DEL', 'CHECK', 'GC', 'STATUS'] as const) {
      const { code, msg } = errorOf(await host.exec([path], call(verb, { type: 'bridge' })))
      expect(code).toBe(7)
      expect(msg).toMatch(new RegExp(`"${name}" can mean the plugin \\w+ or \\w+`))
    }
  }),
)

/** A bridge's life by `program`, with host-local as `type`; the folder of `program` is CNI_PATH. */
async function lifeOf(host: Host, program: string, type: string) {
  const { netns } = await host.container('pod')
  const ipam = { type, ranges: [[{ subnet: '10.9.0.0/24' }]] }
  const config = { type: 'bridge', bridge: 'br9', isGateway: true, ipMasq: true, ipam }
  const finished: Finished[] = []
  const run = async (verb: Verb, more: object = {}) => {
    const { env, stdin } = call(verb, { ...config, ...more }, { netns, path: dirname(program) })
    const trace = `/run/trace-${finished.length}`
    finished.push(await host.exec([program], { env: { ...env, PODWIRE_TRACE: trace }, stdin }))
    return finished.at(-1) as Finished
  }
  const prevResult = resultOf(await run('ADD'))
  await run('CHECK', { prevResult })
  await run('STATUS')
  await run('GC', { 'cni.dev/valid-attachments': [{ containerID: 'container0', ifname: 'eth0' }] })
  await run('DEL', { prevResult })
  const leases = await host.output(['ls', '/var/lib/cni/networks/n'])
  const traces = finished.map((_, index) => readTrace(host, `/run/trace-${index}`).map(({ argv }) => argv.join(' ')))
  await host.output(['ip', 'netns', 'del', 'pod'])
  return { finished, leases, started: traces.flat().filter((one) => one.includes(directory)) }
}

describe('a life by other names is the same, its delegate runs in the same process:', () => {
  const rows: [string, string, string][] = [
    ['as BuildKit ships it', 'buildkit-cni-bridge', 'buildkit-cni-host-local'],
    ['wrapped', '.bridge-wrapped', '.host-local-wrapped'],
    ['a name that only the type explains', 'other', 'host-local'],
  ]
  test.for(rows)('%s', async ([, program, type]) => {
    const [here, there] = [await Host.create(), await Host.create()]
    try {
      const expected = await lifeOf(here, join(suites.podwire, 'bridge'), 'host-local')
      expect(expected.finished.map(({ status }) => status)).toEqual([0, 0, 0, 0, 0])
      for (const name of [program, type]) linkSync(file, place(name))
      expect(await lifeOf(there, place(program), type)).toEqual(expected)
    } finally {
      for (const name of [program, type]) rmSync(place(name), { force: true })
      await here.dispose()
      await there.dispose()
    }
  })
})

describe('an IPAM plugin by another name', () => {
  const range = { ranges: [[{ subnet: '10.8.0.0/24' }]] }
  const rows: [string, string, object, () => void][] = [
    ['x-static', 'a hard link', { addresses: [{ address: '10.8.0.2/24' }] }, () => linkSync(file, place('x-static'))],
    ['host-local.real', 'a hard link', range, () => linkSync(file, place('host-local.real'))],
    ['x_host-local', 'a symbolic link', range, () => symlinkSync('file', place('x_host-local'))],
    ['any', 'a link to a name', range, () => symlinkSync(join(suites.podwire, 'host-local'), place('any'))],
  ]

  // Asked by the same file it runs in the process, by another one it is executed: the same plugin either way.
  const callers = { 'the same file': calling('bridge', file), 'another file': [join(suites.podwire, 'bridge')] }

  test.for(rows)('%s, %s', async ([type, , ipam, make]) => {
    make()
    const pod = await host.container('pod')
    const at = { netns: pod.netns }
    try {
      for (const program of Object.values(callers)) {
        const config = { type: 'bridge', bridge: 'br8', ipam: { type, ...ipam } }
        const added = await host.exec(program, call('ADD', config, at))
        expect(resultOf(added).ips?.[0]?.address).toMatch(/^10\.8\.0\.\d+\/24$/)
        expect(added.stderr).toBe('')
        const deleted = await host.exec(program, call('DEL', config, at))
        expect(deleted).toEqual({ status: 0, signal: null, stdout: '', stderr: '' })
      }
    } finally {
      rmSync(place(type))
      await pod.remove()
    }
  })

  test('never takes the type of who asks it', async () => {
    linkSync(file, place('any'))
    const pod = await host.container('pod')
    const at = { netns: pod.netns }
    try {
      // `type` is what the program would be, were it called for itself; the third is asked by a suite that sets no
      // variable.
      const config = { type: 'bridge', bridge: 'br8', ipam: { type: 'any' } }
      for (const program of [...Object.values(callers), [place('any')]]) {
        const error = errorOf(await host.exec(program, call('ADD', config, at)))
        expect(error).toMatchObject({ code: 7, msg: expect.stringContaining('"any" is no name of a plugin') })
        expect(await pod.output(['ip', '-o', 'link'])).not.toContain('eth0')
      }
    } finally {
      rmSync(place('any'))
      await pod.remove()
    }
  })
})
