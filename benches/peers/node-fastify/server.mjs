// Fastify in front, undici behind: a pool for each service, JSON parsed and written again, a timeout for each call.
import Fastify from 'fastify'
import { Pool } from 'undici'

const parts = ['activity', 'items', 'prices', 'stock', 'rules', 'banners', 'coupons', 'profile', 'cart', 'rank', 'comments', 'recommend']
const pools = parts.map((_, n) => new Pool(`http://127.0.0.1:${19100 + n}`, { connections: 1000, headersTimeout: 10_000, bodyTimeout: 10_000 }))

const app = Fastify()
app.get('/page/:id', async (request) => {
  const { id } = request.params
  const values = await Promise.all(parts.map(async (part, n) => {
    const answer = await pools[n].request({ method: 'GET', path: `/${part}/${id}` })
    if (answer.statusCode !== 200) throw new Error(`${part}: status ${answer.statusCode}`)
    return answer.body.json()
  }))
  return Object.fromEntries(parts.map((part, n) => [part, values[n]]))
})
await app.listen({ host: '127.0.0.1', port: 19200, backlog: 4096 })
