import { describe, expect } from 'vitest'
import { errorOf } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import { runPlugin } from '../harness/plugin.js'
import { uninstall } from '../harness/uninstall.js'
import { agreeWithEverything, agreeWithObstacles, agreeWithoutPrograms } from './agreeing.js'
import { answer, stage, works } from './agreement.js'
import { rowNamed, rows } from './rows.js'

agreeWithEverything(rows)
agreeWithoutPrograms(rows)
agreeWithObstacles(rows)

describe('a file system with little room', () => {
  const kinds = Array.from({ length: 12 }, (_, index) => [`size=${4 * (index + 1)}k`, `nr_inodes=${index + 1}`]).flat()
  const cells = ['host-local', 'bridge with masquerade'].flatMap((name) => kinds.map((room) => ({ name, room })))
  test.for(cells)('$room: $name', async ({ name, room }, { host }) => {
    const row = rowNamed(name)
    const staged = await stage(host, row)
    for (const directory of row.writes ?? []) {
      await host.output(['sh', '-ec', `mkdir -p ${directory} && mount -t tmpfs -o ${room} tmpfs ${directory}`])
    }
    const isAvailable = (await answer(staged)) === 'available'
    const isWorking = await works(staged)
    // Where a place or two are left STATUS may be the more careful one.
    if (isAvailable) expect(isWorking).toBe(true)
    if (room === 'size=48k' || room === 'nr_inodes=12') expect(isAvailable).toBe(true)
    if (room === 'nr_inodes=1') expect(isAvailable).toBe(false)
  })

  test('room made again: 0 at once', async ({ host }) => {
    const staged = await stage(host, rowNamed('bridge'))
    await host.output([
      'sh',
      '-ec',
      'mkdir /run/podwire && mount -t tmpfs -o size=4k tmpfs /run/podwire && echo full >/run/podwire/full',
    ])
    expect(await answer(staged)).toContain('/run/podwire')
    await host.output(['rm', '/run/podwire/full'])
    expect(await answer(staged)).toBe('available')
  })
})

describe('the master', () => {
  const choices = [{ master: 'uplink' }, { master: 'upl*' }, { masterSubnet: '192.0.2.0/24' }, {}]
  test.for(choices)('%j: 50 when it is gone, 0 when it is there', async (choice, { host }) => {
    const { config } = rowNamed('macvlan')
    const { master: _, ...others } = config
    const staged = await stage(host, { name: 'macvlan', config: { ...others, type: 'macvlan', ...choice } })
    expect(await answer(staged)).toBe('available')
    await host.output(['ip', 'link', 'del', 'uplink'])
    expect(await answer(staged)).toContain(choice.master ?? choice.masterSubnet ?? 'no default route interface found')
    expect(await works(staged)).toBe(false)
  })

  test('a master in the container is not looked for on the host', async ({ host }) => {
    const config = { type: 'macvlan', master: 'inner0', linkInContainer: true }
    expect(await answer(await stage(host, { name: 'macvlan', config }))).toBe('available')
  })

  test('an MTU that no child of it can have', async ({ host }) => {
    const staged = await stage(host, { name: 'macvlan', config: { type: 'macvlan', master: 'uplink', mtu: 9000 } })
    expect(await answer(staged)).toContain('invalid MTU 9000')
    expect(await works(staged)).toBe(false)
  })

  test("a link of the bridge's name that is none", async ({ host }) => {
    const staged = await stage(host, { name: 'bridge', config: { type: 'bridge', bridge: 'spare0' } })
    expect(await answer(staged)).toContain('"spare0" already exists but is not a bridge')
    expect(await works(staged)).toBe(false)
  })
})

describe('the device of host-device', () => {
  test.for(['device', 'hwaddr'])(
    'by %s: 0 where it is there, or with a container, with a word; 50 where it is gone',
    async (key, { host }) => {
      const staged = await stage(host, { name: 'host-device', config: { type: 'host-device' } })
      const mac = await host.output(['cat', '/sys/class/net/spare0/address'])
      const named = { [key]: key === 'device' ? 'spare0' : mac.trim() }
      expect(await answer(staged, named)).toBe('available')
      expect(await staged.call('ADD', named)).toMatchObject({ status: 0 })
      expect(await staged.call('STATUS', named)).toMatchObject({
        status: 0,
        stdout: '',
        stderr: expect.stringContaining('spare0 is with container one'),
      })
      expect(await staged.call('DEL', named)).toMatchObject({ status: 0 })
      await host.output(['ip', 'link', 'del', 'spare0'])
      expect(await answer(staged, named)).toContain('failed to find host device')
    },
  )

  test('one that a runtime names with the container is not missed', async ({ host }) => {
    expect(await answer(await stage(host, { name: 'host-device', config: { type: 'host-device' } }))).toBe('available')
  })
})

describe('IPAM', () => {
  const full = { type: 'host-local', subnet: '10.31.0.0/30' }

  test.for(['bridge', 'host-local'])(
    'a full range: %s answers 0 with a word on stderr, 50 where the configuration asks for it',
    async (type, { host }) => {
      const staged = await stage(host, { name: type, config: { type, ipam: full } })
      const strict = { ipam: { ...full, statusOnFullRange: true } }
      expect(await answer(staged)).toBe('available')
      expect(await staged.call('ADD')).toMatchObject({ status: 0 })
      const { status, stdout, stderr } = await staged.call('STATUS')
      expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
      expect(stderr).toContain('no IP addresses available in range set: 10.31.0.1-10.31.0.2')
      expect(stderr).toContain('10.31.0.2 held by one eth0')
      expect(await answer(staged, strict)).toContain('no IP addresses available')
      expect(await staged.call('DEL')).toMatchObject({ status: 0 })
      expect(await answer(staged, strict)).toBe('available')
    },
  )

  test('resolvConf that cannot be read, and a plugin that is not installed', async ({ host }) => {
    const staged = await stage(host, { name: 'bridge', config: { type: 'bridge' } })
    expect(await answer(staged, { ipam: { ...full, resolvConf: '/none/such' } })).toContain('/none/such')
    expect(await answer(staged, { ipam: { type: 'none-such' } })).toContain('failed to find plugin "none-such"')
  })

  const says = (code: number) => `#!/bin/sh\nprintf '{"code": ${code}, "msg": "the server is away"}'; exit 1`
  const foreign: [string, number][] = [
    [says(50), 50],
    [says(51), 51],
    [says(11), 50],
    ['#!/bin/sh\nexit 3', 50],
  ]
  test.for(foreign)('a plugin of others that answers %j: %i', async ([script, code], { host }) => {
    await host.output(
      ['sh', '-ec', 'mkdir /run/plugins && cat >/run/plugins/foreign && chmod +x /run/plugins/foreign'],
      {
        stdin: script,
      },
    )
    const staged = await stage(host, { name: 'bridge', config: { type: 'bridge', ipam: { type: 'foreign' } } })
    const error = errorOf(await staged.call('STATUS', {}, { path: '/run/plugins' }))
    expect(error.code).toBe(code)
  })
})

describe('the host', () => {
  test('/proc/sys that cannot be written, where something has to be', async ({ host }) => {
    const routed = await stage(host, rowNamed('ptp'))
    const tuned = { name: 'tuning', config: { type: 'tuning', sysctl: { 'net.ipv4.conf.IFNAME.rp_filter': '2' } } }
    const readOnly = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys'
    await host.output(['sh', '-ec', `echo 0 >/proc/sys/net/ipv4/ip_forward; ${readOnly}`])
    expect(await answer(routed)).toContain('net/ipv4/ip_forward: EROFS')
    expect(await works(routed)).toBe(false)
    const error = errorOf(
      await runPlugin(host, { plugin: 'tuning', command: 'STATUS', config: versioned(tuned.config) }),
    )
    expect(error).toMatchObject({ code: 50, msg: expect.stringContaining('net/ipv4/conf/lo/rp_filter: EROFS') })
  })

  const offline = { env: { PODWIRE_NO_NETLINK: '1' } }
  test.for(['loopback', 'tuning', 'macvlan'])(
    'where the kernel is not asked, %s needs nsenter and ip',
    async (name, { host }) => {
      const staged = await stage(host, rowNamed(name))
      expect(await staged.call('STATUS', {}, offline)).toMatchObject({ status: 0, stdout: '' })
      await uninstall(host, 'nsenter')
      expect(await answer(staged)).toBe('available')
      expect(errorOf(await staged.call('STATUS', {}, offline))).toMatchObject({
        code: 50,
        msg: expect.stringContaining('nsenter'),
      })
    },
  )

  test('all that is missing is told together', async ({ host }) => {
    const staged = await stage(host, rowNamed('bridge with masquerade'))
    await uninstall(host, 'nft')
    await host.output(['mount', '-t', 'tmpfs', '-o', 'ro', 'tmpfs', '/var/lib'])
    const said = await answer(staged, { ipam: { type: 'host-local', subnet: '10.31.0.0/24', resolvConf: '/none' } })
    for (const word of ['nft', 'EROFS', '/none']) expect(said).toContain(word)
  })
})

function versioned(config: object): object {
  return { cniVersion: '1.1.0', name: 'own', ...config }
}
