import { spawn } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { errorOf, resultOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites, systemCommand } from '../harness/locations.js'
import { type Call, environment, runPlugin, type Verb } from '../harness/plugin.js'
import { until } from '../harness/process.js'
import { stage } from '../status/agreement.js'
import { rows } from '../status/rows.js'

// A caller that never sees ADD's result takes the ADD for failed and forgets it: nothing may be left of it.

/** How a shell hands on a standard output that takes nothing, and what is said of it. */
const outlets: Record<string, { script: string; says: string }> = {
  full: { script: 'exec "$0" >/dev/full', says: 'ENOSPC' },
  closed: { script: 'exec "$0" >&-', says: 'EBADF' },
  'without a reader': {
    script: 'mkfifo /run/fifo && exec 8<>/run/fifo 9>/run/fifo 8>&- && rm /run/fifo && exec "$0" >&9 9>&-',
    says: 'EPIPE',
  },
}

/** Everything that an attachment could leave on the host or in the container, by name. */
async function remains(host: Host, netns: string): Promise<string> {
  const commands = [
    'ip -o link',
    'ip -o addr',
    'ip rule',
    'ip route show table all',
    'ip -6 route show table all',
    'tc qdisc',
  ]
  const rules = [
    'nft -s list ruleset',
    'iptables-save | grep -v "^[#:]"',
    'find /run /var/lib ! -path "/run/netns*" | sort',
  ]
  const all = [...commands, ...commands.map((one) => `ip netns exec ${netns} ${one}`), ...rules]
  const text = await host.output(['sh', '-c', all.map((one) => `echo "# ${one}"; ${one}`).join('\n')])
  // Numbers of links grow, lifetimes run off, and the kernel gives link-local addresses when it finds the time.
  const passing = [/^\d+: /g, /@if\d+/g, /<[A-Z,_0-9-]*>/g, / (link-netnsid|expires|state) \S+/g, / linkdown/g]
  const lines = text.split('\n').filter((line) => !/ (fe80::|ff00::|::1 )/.test(` ${line}`))
  return lines.map((line) => passing.reduce((rest, one) => rest.replace(one, ''), line)).join('\n')
}

describe.each(Object.entries(outlets))('standard output %s', (_, { script, says }) => {
  test.for(rows)('$name: ADD is taken back, DEL stands', async (row, { host }) => {
    const { call, start } = await stage(host, row)
    const unheard = (verb: Verb) => {
      const { argv, options } = start(verb)
      return host.exec([systemCommand('sh'), '-c', script, ...argv], options)
    }
    // What is shared stays: the bridge, tables, a lock.
    expect(await call('ADD')).toMatchObject({ status: 0 })
    expect(await call('DEL')).toMatchObject({ status: 0 })
    const before = await remains(host, 'container0')
    const added = await unheard('ADD')
    expect(added).toMatchObject({ status: 1, stdout: '' })
    expect(added.stderr).toContain(`cannot write to stdout: ${says}`)
    // That lo is up hurts nobody; the DEL that follows ends it.
    if (row.name === 'loopback') expect(await call('DEL')).toMatchObject({ status: 0 })
    expect(await remains(host, 'container0')).toBe(before)

    expect(await call('ADD')).toMatchObject({ status: 0 })
    expect(await unheard('DEL')).toMatchObject({ status: 0, stdout: '' })
    expect(await remains(host, 'container0')).toBe(before)
  })

  test('an error goes to stderr, and VERSION fails', async ({ host }) => {
    const run = (command: Verb, config: string) => {
      const env = environment({ plugin: 'bridge', command, netns: '/none' })
      return host.exec([systemCommand('sh'), '-c', script, join(suites.podwire, 'bridge')], { env, stdin: config })
    }
    const refused = await run('ADD', '{"cniVersion": "1.1.0", "name": "n", "mtu": "x"}')
    expect(refused).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('mtu: found "x"') })
    expect(await run('DEL', 'no JSON')).toMatchObject({ status: 1, stderr: expect.stringContaining('unmarshall') })
    if (says !== 'EBADF') expect(await run('VERSION', '')).toMatchObject({ status: 1, stdout: '' })
  })
})

describe('standard input and output that do not block', () => {
  const many = Array.from({ length: 500 }, (_, index) => ({ address: `10.1.${index >> 8}.${index & 255}/16` }))
  const config = { cniVersion: '1.1.0', name: 'n', type: 'static', ipam: { type: 'static', addresses: many } }
  const call: Call = { plugin: 'static', command: 'ADD', config, netns: '/none' }

  /** Starts ADD with the other end of a pipe as one of its descriptors, which a shell hands on as it is. */
  async function withPipe(
    host: Host,
    direction: '<' | '>',
  ): Promise<{ pipe: number; started: ReturnType<typeof begin> }> {
    await host.output(['mkfifo', '/run/fifo'])
    const path = host.path('/run/fifo')
    const both = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
    const flags = constants.O_NONBLOCK | (direction === '<' ? constants.O_RDONLY : constants.O_WRONLY)
    const own = openSync(path, flags)
    if (direction === '>') fill(own)
    const started = begin(own, direction)
    closeSync(own)
    const pipe = openSync(path, constants.O_NONBLOCK | (direction === '<' ? constants.O_WRONLY : constants.O_RDONLY))
    closeSync(both)
    return { pipe, started }
  }

  function begin(descriptor: number, direction: '<' | '>') {
    const argv = ['-c', `exec "$0" ${direction}&3 3>&-`, join(suites.podwire, 'static')]
    const child = spawn(systemCommand('sh'), argv, {
      env: environment(call),
      stdio: ['pipe', 'pipe', 'pipe', descriptor],
    })
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(direction === '>' ? JSON.stringify(config) : '')
    let [stdout, stderr] = ['', '']
    child.stdout?.on('data', (chunk) => (stdout += chunk))
    child.stderr?.on('data', (chunk) => (stderr += chunk))
    const finished = new Promise<{ status: number | null; signal: null; stdout: string; stderr: string }>(
      (resolve, reject) => {
        child.on('error', reject)
        child.on('close', (status) => resolve({ status, signal: null, stdout, stderr }))
      },
    )
    return { child, finished }
  }

  function fill(pipe: number): void {
    expect(() => {
      for (;;) writeSync(pipe, 'x'.repeat(4096))
    }).toThrow('EAGAIN')
  }

  function drain(pipe: number): string {
    const bytes = Buffer.alloc(1 << 20)
    try {
      return bytes.toString('utf8', 0, readSync(pipe, bytes))
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('EAGAIN')
      return ''
    }
  }

  /** State and processor time, in ticks of 10 ms, as in proc(5). */
  function usage(pid: number): { name: string; state: string; ticks: number } {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const words = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return {
      name: text.slice(text.indexOf('(') + 1, text.lastIndexOf(')')),
      state: words[0] ?? '',
      ticks: Number(words[11]) + Number(words[12]),
    }
  }

  /** It sleeps, and goes on to for a second. */
  async function expectIdle(pid: number): Promise<void> {
    await until('the plugin waits', () => usage(pid).name !== 'sh' && usage(pid).state === 'S', 20_000)
    const before = usage(pid).ticks
    await new Promise((resolve) => setTimeout(resolve, 1000))
    expect(usage(pid).ticks - before).toBeLessThan(20)
  }

  test('a full output is waited for, and a result of many pieces arrives whole', async ({ host }) => {
    const { pipe, started } = await withPipe(host, '>')
    await expectIdle(started.child.pid as number)
    let out = ''
    let isOver = false
    started.finished.finally(() => (isOver = true)).catch(() => undefined)
    await until(
      'all is written',
      () => {
        out += drain(pipe)
        return isOver
      },
      20_000,
    )
    out += drain(pipe)
    closeSync(pipe)
    const finished = await started.finished
    expect(finished).toMatchObject({ status: 0, stderr: '' })
    const { ips } = resultOf({ ...finished, stdout: out.slice(out.indexOf('{')) })
    expect(ips).toHaveLength(many.length)
  })

  test('a reader that goes while it is waited for', async ({ host }) => {
    const { pipe, started } = await withPipe(host, '>')
    await expectIdle(started.child.pid as number)
    closeSync(pipe)
    expect(await started.finished).toMatchObject({ status: 1, stderr: expect.stringContaining('EPIPE') })
  })

  test('a late input is waited for', async ({ host }) => {
    const { pipe, started } = await withPipe(host, '<')
    const text = JSON.stringify(config)
    await expectIdle(started.child.pid as number)
    writeSync(pipe, text.slice(0, 1000))
    await expectIdle(started.child.pid as number)
    writeSync(pipe, text.slice(1000))
    closeSync(pipe)
    expect(resultOf(await started.finished).ips).toHaveLength(many.length)
  })
})

describe('paths that lead nowhere', () => {
  const ipam = { type: 'host-local', subnet: '10.1.2.0/24' }
  const pseudo = ['/proc/podwire', '/proc/self/podwire', '/proc/sys/net/podwire/leases', '/sys/podwire']
  const cells = pseudo.flatMap((dataDir) => [
    { type: 'host-local', config: { ipam: { ...ipam, dataDir } } },
    { type: 'bridge', config: { ipam: { ...ipam, dataDir } } },
    { type: 'tuning', config: { mtu: 1400, dataDir } },
  ])
  test.for(cells)('$type in $config: an error at once, and nothing left', async ({ type, config }, { host }) => {
    const { call } = await stage(host, {
      name: type,
      config: { type, ...config },
      ...(type === 'tuning' ? { isChained: true as const } : {}),
    })
    expect(errorOf(await call('STATUS')).code).toBe(50)
    const before = await remains(host, 'container0')
    expect(errorOf(await call('ADD'))).toMatchObject({ code: 5 })
    expect((await remains(host, 'container0')).replace(/^.*\bcni0\b.*$/gm, '')).toBe(
      before.replace(/^.*\bcni0\b.*$/gm, ''),
    )
    expect(await call('DEL')).toMatchObject({ status: 0 })
  })

  test('a relative dataDir where the working directory was removed', async ({ host }) => {
    const argv = [
      '-c',
      'mkdir /run/gone && cd /run/gone && rmdir /run/gone; exec "$0"',
      join(suites.podwire, 'host-local'),
    ]
    for (const [command, code] of [
      ['ADD', 5],
      ['STATUS', 50],
    ] as const) {
      for (const dataDir of ['leases', 'some/leases', './leases']) {
        const config = JSON.stringify({
          cniVersion: '1.1.0',
          name: 'n',
          type: 'host-local',
          ipam: { ...ipam, dataDir },
        })
        const env = environment({ plugin: 'host-local', command, netns: '/none' })
        expect(errorOf(await host.exec([systemCommand('sh'), ...argv], { env, stdin: config })).code).toBe(code)
      }
    }
  })

  const nul: Record<string, object[]> = {
    'host-local': [{ ipam: { ...ipam, dataDir: '/run/a\0b' } }, { ipam: { ...ipam, resolvConf: '/run/a\0b' } }],
    bridge: [
      { ipam: { ...ipam, dataDir: 'a\0b' } },
      { ipam: { ...ipam, resolvConf: 'a\0b' } },
      { ipam: { type: 'host-local\0' } },
    ],
    tuning: [{ dataDir: '/run/a\0b', mtu: 1400 }],
    'host-device': [
      { kernelpath: '/sys/devices/a\0b' },
      { pciBusID: '0000:00\0' },
      { runtimeConfig: { deviceID: '0000\0' } },
    ],
  }
  const nuls = Object.entries(nul).flatMap(([plugin, configs]) => configs.map((config) => ({ plugin, config })))
  test.for(nuls)('a NUL: $plugin $config', async ({ plugin, config }, { host }) => {
    const { netns } = await host.container()
    const prevResult = { cniVersion: '1.1.0', interfaces: [], ips: [] }
    for (const command of ['ADD', 'CHECK', 'STATUS', 'GC'] as const) {
      const whole = {
        cniVersion: '1.1.0',
        name: 'n',
        type: plugin,
        prevResult,
        'cni.dev/valid-attachments': [],
        ...config,
      }
      const finished = await runPlugin(host, { plugin, command, config: whole, netns })
      expect(errorOf(finished).code, `${command}: ${finished.stdout}`).toBe(7)
    }
  })
})
