import { describe } from 'vitest'
import { staysInside } from './forging.js'
import { plugins } from './plugins.js'

describe("a DEL behind a container's root:", () => {
  for (const [type, swapped] of Object.entries(plugins)) staysInside(type, swapped)
})
